"use strict";
// A click on a picture replaces it by the clip, which plays in a loop; without scripts, the link opens the video.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a.play");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const video = document.createElement("video");
  Object.assign(video, { src: link.href, controls: true, loop: true, muted: true, autoplay: true, playsInline: true });
  video.setAttribute("aria-label", link.getAttribute("aria-label"));
  document.querySelectorAll("video").forEach((other) => other.pause());
  link.replaceWith(video);
  video.focus();
});
