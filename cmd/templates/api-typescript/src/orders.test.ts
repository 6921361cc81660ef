import type { APIGatewayProxyEventV2 } from "aws-lambda";
import { create, parse } from "./orders";

test("reads an order", () => {
  expect(parse('{"item": "tea", "quantity": 2}')).toMatchObject({ item: "tea", quantity: 2 });
});

test.each(["", "{}", '{"item": "tea"}', '{"item": "tea", "quantity": 0}', "not JSON"])("refuses %j", (body) => {
  expect(parse(body)).toBeUndefined();
});

test("takes an encoded body", async () => {
  const body = Buffer.from('{"item": "tea", "quantity": 2}').toString("base64");
  expect(await create({ body, isBase64Encoded: true } as APIGatewayProxyEventV2)).toMatchObject({ statusCode: 201 });
});
