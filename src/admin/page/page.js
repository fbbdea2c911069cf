"use strict";
(() => {
  const deep = () => {
    const [, kind, environment, key] = /^#(flag|segment)\/([^/]*)\/(.+)$/.exec(location.hash) || [];
    if (!key) return false;
    let text = key, place = environment;
    try { text = decodeURIComponent(key); place = decodeURIComponent(environment); } catch { /* as it stands */ }
    const query = new URLSearchParams();
    if (place) query.set("environment", place);
    query.set(kind, text);
    location.replace("./?" + query + "#changes");
    return true;
  };
  if (deep()) return;
  addEventListener("hashchange", deep);

  const part = (name) => document.querySelector(`[data-part="${name}"]`);
  const list = part("changes");
  const selection = list.hasAttribute("data-selection");
  const mark = document.getElementById("live");
  const tell = (words, on) => {
    if (mark.textContent !== words) mark.textContent = words;
    mark.className = on ? "ok" : "muted";
  };

  const put = (place, html) => {
    const focus = place.contains(document.activeElement) && document.activeElement.getAttribute("href");
    const open = new Map();
    place.querySelectorAll("a[aria-expanded=true]").forEach((link) => open.set(link.getAttribute("href"), link.nextDetail));
    place.innerHTML = html;
    if (place === list) enhance();
    place.querySelectorAll("a[href]").forEach((link) => {
      const href = link.getAttribute("href");
      if (open.has(href)) unfold(link, open.get(href));
      if (href === focus) link.focus({ preventScroll: true });
    });
  };

  const unfold = (link, detail) => {
    link.nextDetail = detail;
    link.setAttribute("aria-expanded", "true");
    link.closest("li").append(detail);
  };

  const enhance = () => list.querySelectorAll("ol.changes > li > a").forEach((link) => {
    link.setAttribute("role", "button");
    link.setAttribute("aria-expanded", "false");
  });
  enhance();

  list.addEventListener("click", async (event) => {
    const link = event.target.closest("ol.changes > li > a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (link.getAttribute("aria-expanded") === "true") {
      link.nextDetail.remove();
      link.setAttribute("aria-expanded", "false");
      return;
    }
    try {
      const answer = await fetch(link.href + "?part=1");
      if (!answer.ok) throw new Error();
      const detail = document.createElement("div");
      detail.innerHTML = await answer.text();
      unfold(link, detail);
    } catch {
      location.assign(link.href);
    }
  });
  list.addEventListener("keydown", (event) => {
    if (event.key === " " && event.target.matches("ol.changes > li > a")) {
      event.preventDefault();
      event.target.click();
    }
  });

  let waiting = false;
  const again = () => {
    if (waiting) return;
    waiting = true;
    setTimeout(async () => {
      waiting = false;
      try {
        const answer = await fetch("page/changes" + location.search);
        if (answer.ok) put(list, await answer.text());
      } catch { /* the next change tries again */ }
    }, 2000);
  };

  const listen = () => {
    const source = new EventSource("page/live" + (selection ? "?selection=1" : ""));
    let first = true;
    source.addEventListener("parts", (event) => {
      for (const [name, html] of Object.entries(JSON.parse(event.data))) {
        const place = part(name);
        if (html === true) { if (!first) again(); }
        else if (place && place.innerHTML !== html) put(place, html);
      }
      first = false;
      tell("● live", true);
    });
    source.onerror = () => {
      tell("○ not live", false);
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 30000);
    };
  };
  listen();
})();
