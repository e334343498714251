"""GET /book and GET /book/{name}: return all books or one."""

import os
from decimal import Decimal
from typing import Any

import boto3

from books.api import Answer, answer
from dynamo_outbox import decode_item, encode_item

TABLE = os.environ["BOOKS_TABLE"]
dynamodb = boto3.client("dynamodb")


def handler(event: dict[str, Any], context: object) -> Answer:
    name = (event.get("pathParameters") or {}).get("name")
    if name is None:
        pages = dynamodb.get_paginator("scan").paginate(TableName=TABLE)
        return answer(200, [shown(item) for page in pages for item in page["Items"]])
    item = dynamodb.get_item(TableName=TABLE, Key=encode_item({"name": name}), ConsistentRead=True).get("Item")
    return answer(404, {"message": f"book {name!r} does not exist"}) if item is None else answer(200, shown(item))


def shown(item: dict[str, Any]) -> dict[str, Any]:
    return {name: int(v) if isinstance(v, Decimal) else v for name, v in decode_item(item).items()}
