// The handlers of the routes in stacks.star, one exported function each.
import * as store from "./store";

// The parts of API Gateway's event (payload format 2.0) that these handlers read.
interface Request {
  body?: string;
  isBase64Encoded: boolean;
  pathParameters?: Record<string, string>;
}

export async function list() {
  return json(200, await store.all());
}

export async function get(request: Request) {
  const note = (await store.all()).find(({ id }) => id === request.pathParameters?.id);
  return note ? json(200, note) : json(404, { message: "There is no such note." });
}

export async function create(request: Request) {
  const text = textOf(request);
  if (text === undefined) return json(400, { message: 'The body is JSON of the form {"text": "..."}.' });
  const note = await store.add(text);
  console.log("created", note.id);
  return json(201, note);
}

export async function remove(request: Request) {
  const id = request.pathParameters?.id ?? "";
  return (await store.remove(id)) ? { statusCode: 204 } : json(404, { message: "There is no such note." });
}

function textOf(request: Request): string | undefined {
  const body = request.isBase64Encoded ? Buffer.from(request.body ?? "", "base64").toString() : request.body;
  try {
    const { text } = JSON.parse(body ?? "");
    return typeof text === "string" && text !== "" ? text : undefined;
  } catch {
    return undefined;
  }
}

function json(statusCode: number, value: unknown) {
  return { statusCode, headers: { "content-type": "application/json" }, body: JSON.stringify(value) };
}
