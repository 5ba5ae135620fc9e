"""What a restoration did to the values of an image, told by input and output alone.

blocks      small blocks of both images as frequencies
noise       what the noise of the input is like, by places spread over it
pair        the two images, read side by side within a budget
sums        what is added up over all blocks and cells
figures     sums -> figures
judging     figures -> what is wrong, in words
trust       all of it

Why it works: let the input be x, the output y, and what was removed r = x - y. If y is the best
guess of what is shown, then at every frequency y is as strong as what x and y have in common, or
weaker. Structure that was made up, or made stronger, breaks that. Detail that was taken away shows
as r that is stronger than noise where the image has structure.
"""
