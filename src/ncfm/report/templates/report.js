"use strict";
(() => {
  const $ = (id) => document.getElementById(id);

  // Zoom: a native dialog, which keeps the focus inside, closes on Escape and restores the focus.
  const dialog = $("zoom"), image = $("zoom-image"), text = $("zoom-text");
  let tiles = [], at = 0;
  const show = (index) => {
    at = index;
    const shown = tiles[at].querySelector("img");
    image.src = shown.src;
    image.alt = shown.alt;
    text.textContent = shown.alt;
    dialog.classList.toggle("wide-image", shown.naturalWidth > 2 * shown.naturalHeight);
    $("previous").disabled = at === 0;
    $("next").disabled = at === tiles.length - 1;
  };
  const groupOf = (tile) => tile.closest(".tiles, .three, .strips");
  const open = (tile) => {
    tiles = [...groupOf(tile).querySelectorAll(".tile")];
    show(tiles.indexOf(tile));
    dialog.showModal();
  };
  const step = (by) => {
    if (tiles[at + by]) show(at + by);
  };
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  dialog.addEventListener("close", () => tiles[at] && tiles[at].focus());

  // Each row of images is one tab stop; arrow keys move within it.
  document.querySelectorAll(".tiles, .three, .strips").forEach((group) => {
    const own = [...group.querySelectorAll(".tile")];
    own.forEach((tile, index) => {
      tile.tabIndex = index === 0 ? 0 : -1;
      tile.addEventListener("click", () => open(tile));
      tile.addEventListener("focus", () => own.forEach((other) => { other.tabIndex = other === tile ? 0 : -1; }));
      tile.addEventListener("keydown", (event) => {
        const to = { ArrowRight: index + 1, ArrowDown: index + 1, ArrowLeft: index - 1, ArrowUp: index - 1,
          Home: 0, End: own.length - 1 }[event.key];
        if (to === undefined || !own[to]) return;
        event.preventDefault();
        own[to].focus();
      });
    });
  });

  // On paper everything is open that is folded on the screen, except the numbers of charts.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details.more:not([open])")];
    closed.forEach((part) => { part.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach((part) => { part.open = false; }));

  // With reduced motion the animation is paused until it is started.
  const animation = $("animation"), pause = $("pause");
  if (animation) {
    const source = animation.parentElement.querySelector("source");
    const pictures = { moving: animation.getAttribute("src"), still: source.getAttribute("srcset") };
    $("save").href = pictures.moving;
    const set = (still) => {
      source.remove();
      animation.src = still ? pictures.still : pictures.moving;
      pause.textContent = still ? "Play" : "Pause";
      pause.setAttribute("aria-pressed", String(still));
    };
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) set(true);
    pause.addEventListener("click", () => set(pause.getAttribute("aria-pressed") !== "true"));
  }

  // The map: one class, the others dimmed.
  const chooser = $("class");
  if (chooser) {
    const map = document.querySelector(".map svg.chart");
    chooser.addEventListener("change", () => {
      map.classList.toggle("chosen", chooser.value !== "");
      map.querySelectorAll(".cloud").forEach((cloud) => {
        cloud.classList.toggle("on", cloud.dataset.class === chooser.value);
      });
    });
  }
})();
