// What a service refused, in its own words.

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

// The words of an error body: each service has a shape of its own.
export function wordsOf(body) {
  if (!body || typeof body !== "object") return "";
  if (typeof body.message === "string") return body.message;
  if (Array.isArray(body.errors)) return body.errors.map((each) => each.detail ?? each.title ?? "").join(" ");
  for (const inner of Object.values(body)) {
    if (typeof inner === "string" && inner) return inner;
    const words = wordsOf(inner);
    if (words) return words;
  }
  return "";
}

export async function problemOf(response) {
  const text = await response.text();
  let words = "";
  try {
    words = wordsOf(JSON.parse(text));
  } catch {
    // Image answers with a page: its text says what was wrong. It is shown as text, whatever is left in it.
    if (text.length < 4000) {
      words = text.replace(/<title>[^]*?<\/title>/i, "").replace(/<[^>]*>/g, " ").replace(/&lt;/g, "<").replace(/&gt;/g, ">")
        .replace(/&#?x?27;|&#39;/g, "'").replace(/&quot;/g, '"').replace(/&amp;/g, "&").replace(/\s+/g, " ").trim();
    }
  }
  return new ApiError(response.status, words || `The server answered ${response.status} ${response.statusText}`.trim());
}
