import { randomUUID } from "node:crypto";
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from "aws-lambda";

export interface Order {
  id: string;
  item: string;
  quantity: number;
}

export async function create(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  // API Gateway encodes bodies of content types that it does not know as text, such as that of `curl -d`.
  const body = event.isBase64Encoded ? Buffer.from(event.body ?? "", "base64").toString() : event.body;
  const order = parse(body);
  if (order === undefined) {
    return json(400, { message: 'The body is JSON of the form {"item": "tea", "quantity": 2}.' });
  }
  console.log("order", order.id, order.item);
  return json(201, order);
}

/** Reads an order from the body of a request; undefined when it is none. */
export function parse(body: string | undefined): Order | undefined {
  try {
    const { item, quantity } = JSON.parse(body ?? "");
    if (typeof item !== "string" || item === "" || !Number.isInteger(quantity) || quantity < 1) return undefined;
    return { id: randomUUID(), item, quantity };
  } catch {
    return undefined;
  }
}

function json(statusCode: number, value: unknown): APIGatewayProxyStructuredResultV2 {
  return { statusCode, headers: { "content-type": "application/json" }, body: JSON.stringify(value) };
}
