const errors = [];
window.addEventListener("error", (event) => errors.push(String(event.message)));
const complain = console.error;
console.error = (...words) => { errors.push(words.map(String).join(" ")); complain(...words); };

const address = (name, level, x, y) => {
  const tile = `${name}/${level}/${x}_${y}`;
  return tiles.embedded ? tiles.embedded[tile] : `${tiles.folder}/${tile}.${tiles.suffix}`;
};
const source = (name) => ({
  width: tiles.width, height: tiles.height, tileSize: tiles.tile, tileOverlap: 0,
  minLevel: tiles.first, maxLevel: tiles.last,
  getTileUrl: (level, x, y) => address(name, level, x, y),
});
const viewer = OpenSeadragon({
  element: document.getElementById("viewer"), prefixUrl: "", drawer: "canvas",
  crossOriginPolicy: false, showNavigationControl: false, showNavigator: true,
  navigatorPosition: "TOP_RIGHT", imageSmoothingEnabled: false, maxZoomPixelRatio: 16,
  minZoomImageRatio: 0.5, animationTime: 0.3, gestureSettingsMouse: { clickToZoom: false },
  tileSources: tiles.names.map(source),
});
const slider = document.getElementById("slider"), cut = document.createElement("div");
cut.id = "cut";
const tag = (name) => {
  const made = document.createElement("div");
  made.className = "tag"; made.id = `tag-${name}`; made.textContent = name;
  return made;
};
const difference = document.getElementById("difference");
const item = (i) => viewer.world.getItemAt(i);
const isReady = () => viewer.world.getItemCount() === tiles.names.length;
const line = () => slider.value / 100 * viewer.element.clientWidth;

function update() {
  if (!isReady()) return;
  cut.style.left = `${line()}px`;
  const point = new OpenSeadragon.Point(line(), 0);
  const x = Math.min(tiles.width, Math.max(0, item(1).viewerElementToImageCoordinates(point).x));
  const shows = difference.getAttribute("aria-pressed") === "true";
  item(2).setOpacity(shows ? 1 : 0);
  item(1).setOpacity(x < tiles.width ? 1 : 0);
  if (x < tiles.width) item(1).setClip(new OpenSeadragon.Rect(x, 0, tiles.width - x, tiles.height));
  cut.hidden = shows;
  const zoom = item(0).viewportToImageZoom(viewer.viewport.getZoom(true));
  const middle = item(0).viewportToImageCoordinates(viewer.viewport.getCenter(true));
  document.getElementById("where").textContent =
    `${Math.round(zoom * 100)} %, middle at column ${Math.round(middle.x)}, row ${Math.round(middle.y)}`;
}
const show = (value) => { slider.value = value; update(); };
slider.addEventListener("input", update);
document.querySelectorAll("[data-cut]").forEach((button) =>
  button.addEventListener("click", () => {
    difference.setAttribute("aria-pressed", "false");
    show(button.dataset.cut);
  }));
difference.addEventListener("click", () => {
  const pressed = difference.getAttribute("aria-pressed") !== "true";
  difference.setAttribute("aria-pressed", String(pressed));
  update();
});
const zoomBy = (factor) => { viewer.viewport.zoomBy(factor); viewer.viewport.applyConstraints(); };
const actual = () => viewer.viewport.zoomTo(item(0).imageToViewportZoom(1));
document.getElementById("home").addEventListener("click", () => viewer.viewport.goHome());
document.getElementById("actual").addEventListener("click", actual);
document.getElementById("larger").addEventListener("click", () => zoomBy(1.5));
document.getElementById("smaller").addEventListener("click", () => zoomBy(1 / 1.5));
document.querySelectorAll("[data-region]").forEach((button) =>
  button.addEventListener("click", () => {
    const [x, y, w, h] = button.dataset.region.split(",").map(Number);
    viewer.viewport.fitBounds(item(0).imageToViewportRectangle(x, y, w, h));
    viewer.element.scrollIntoView({ block: "nearest" });
  }));
cut.addEventListener("pointerdown", (event) => { cut.setPointerCapture(event.pointerId); event.preventDefault(); event.stopPropagation(); });
cut.addEventListener("pointermove", (event) => {
  if (!cut.hasPointerCapture(event.pointerId)) return;
  const box = viewer.element.getBoundingClientRect();
  show(100 * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
});
viewer.element.append(cut, tag("before"), tag("after"));
viewer.canvas.setAttribute("role", "application");
viewer.canvas.setAttribute("aria-label", "Picture: arrow keys move, plus and minus zoom, 0 shows all of it");
["open", "animation", "animation-finish", "resize", "viewport-change"].forEach((name) => viewer.addHandler(name, update));
viewer.world.addHandler("add-item", update);
viewer.addHandler("open", () => {
  viewer.viewport.minZoomLevel = Math.min(viewer.viewport.getHomeZoom() / 2, item(0).imageToViewportZoom(0.9));
});

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const isStill = () => Math.abs(viewer.viewport.getZoom(true) / viewer.viewport.getZoom() - 1) < 1e-3;
async function loaded() {
  for (let i = 0; i < 400; i++) {
    if (isReady() && isStill() && tiles.names.every((_, k) => item(k).getOpacity() === 0 || item(k).getFullyLoaded())) return true;
    await pause(50);
  }
  return false;
}
async function check() {
  const told = { loaded: await loaded() };
  show(25);
  const quarter = item(1).getClip();
  told.slider = Math.abs(item(1).imageToViewerElementCoordinates(new OpenSeadragon.Point(quarter.x, 0)).x - line()) < 2;
  actual();
  await loaded();
  told.actual = Math.abs(item(0).viewportToImageZoom(viewer.viewport.getZoom(true)) - 1) < 0.01;
  told.moved = item(1).getClip().x !== quarter.x;
  const region = document.querySelector("[data-region]");
  if (region) { region.click(); await pause(50); told.region = await loaded(); }
  difference.click();
  told.difference = item(2).getOpacity() === 1;
  told.differenceLoaded = await loaded();
  difference.click();
  told.paper = getComputedStyle(document.body).backgroundColor;
  if (window.axe) {
    const found = await window.axe.run(document);
    told.axe = found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(" ")).join("; ")}`);
  }
  if (location.hash === "#check-actual") actual(); else viewer.viewport.goHome();
  await loaded();
  told.errors = errors;
  document.body.dataset.check = JSON.stringify(told);
}
if (location.hash.startsWith("#check")) window.addEventListener("load", check);
