// Opens every page in a frame of the given width and writes what is wrong with it into the element "found".
const { pages, width } = JSON.parse(document.getElementById("request").textContent);
const SETTLE_MS = 60;

function scrolls(element, view) {
  for (let outer = element; outer && outer.tagName !== "BODY"; outer = outer.parentElement) {
    const overflow = view.getComputedStyle(outer).overflowX;
    if (overflow !== "visible") return ["auto", "scroll"].includes(overflow);
  }
  return false;
}

function faults(page, view) {
  const wide = [...page.querySelectorAll("article table, article pre, article img")].filter(
    (element) => element.getBoundingClientRect().right > width && !scrolls(element, view));
  const missing = [...page.images].filter((image) => !image.complete || image.naturalWidth === 0);
  return [
    ...(page.documentElement.scrollWidth > page.documentElement.clientWidth ? ["is wider than the window"] : []),
    ...wide.map((element) => `clipped: ${element.tagName} ${element.textContent.trim().slice(0, 40)}`),
    ...missing.map((image) => `no picture: ${image.getAttribute("src")}`),
  ];
}

function open(path) {
  return new Promise((resolve) => {
    const frame = document.createElement("iframe");
    frame.style.width = `${width}px`;
    frame.style.height = "900px";
    frame.src = `/${path}`;
    frame.onload = () => setTimeout(() => {
      const page = frame.contentDocument;
      const links = [...page.querySelectorAll("a[href]")].map((a) => a.href).filter((l) => l.startsWith(location.origin));
      const found = faults(page, frame.contentWindow);
      frame.remove();
      resolve({ found, links });
    }, SETTLE_MS);
    document.body.appendChild(frame);
  });
}

async function broken(links) {
  const known = new Map();
  const found = [];
  for (const link of links) {
    const [address, anchor] = link.split("#");
    if (!known.has(address)) {
      const answer = await fetch(address);
      const text = answer.ok && address.endsWith(".html") ? await answer.text() : "";
      known.set(address, { ok: answer.ok, page: text && new DOMParser().parseFromString(text, "text/html") });
    }
    const { ok, page } = known.get(address);
    if (!ok || (anchor && page && !page.getElementById(decodeURIComponent(anchor)))) found.push(link);
  }
  return found;
}

const all = new Set();
const faulty = {};
for (const path of pages) {
  const { found, links } = await open(path);
  links.forEach((link) => all.add(link));
  if (found.length) faulty[path] = found;
}
const answer = { faulty, broken: await broken(all), links: all.size, pages: pages.length };
document.getElementById("found").textContent = JSON.stringify(answer);
