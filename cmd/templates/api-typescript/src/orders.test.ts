import { parse } from "./orders";

test("reads an order", () => {
  expect(parse('{"item": "tea", "quantity": 2}')).toMatchObject({ item: "tea", quantity: 2 });
});

test.each(["", "{}", '{"item": "tea"}', '{"item": "tea", "quantity": 0}', "not JSON"])("refuses %j", (body) => {
  expect(parse(body)).toBeUndefined();
});
