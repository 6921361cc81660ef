import base64
import json
import uuid


def create(event, context):
    body = event.get("body")
    if event.get("isBase64Encoded"):  # API Gateway encodes bodies of content types that it does not know as text
        body = base64.b64decode(body).decode()
    order = parse(body)
    if order is None:
        return _json(400, {"message": 'The body is JSON of the form {"item": "tea", "quantity": 2}.'})
    print("order", order["id"], order["item"])
    return _json(201, order)


def parse(body):
    """Reads an order from the body of a request; None when it is none."""
    try:
        order = json.loads(body or "")
        item, quantity = order["item"], order["quantity"]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(item, str) or not item or type(quantity) is not int or quantity < 1:
        return None
    return {"id": str(uuid.uuid4()), "item": item, "quantity": quantity}


def _json(status, value):
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(value)}
