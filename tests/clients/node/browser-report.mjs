// How a page tells its own server what came of it.

/** What the page was opened with. */
export const settings = new URLSearchParams(location.search);

/** Post the pieces of text that `work` brings, or its failure. */
export async function report(work) {
  let result;
  try {
    result = { pieces: await work(), failure: null };
  } catch (error) {
    result = { pieces: [], failure: String(error) };
  }
  await fetch("/result", { method: "POST", body: JSON.stringify(result) });
}
