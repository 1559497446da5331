// A tab of somebody who is logged in has a socket, and goes to the login when its session ends.
const SESSION_ENDED = 4401;

// The tab is on its way to another page, by a logout of its own maybe: that page says what there is to say.
let leaving = false;
addEventListener("beforeunload", () => { leaving = true; });

if (document.body.dataset.user) {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/socket`);
  socket.addEventListener("open", () => document.body.classList.add("connected"));
  socket.addEventListener("close", (event) => {
    if (event.code === SESSION_ENDED && !leaving) location.replace("/login?ended");
  });
}

// A page that the browser kept and shows again (Back) is as old as when it was left.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
