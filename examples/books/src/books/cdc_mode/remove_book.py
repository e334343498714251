"""DELETE /book: delete only the book; the event comes from the table's stream."""

import os
from typing import Any

import boto3

from books.api import Answer, answer, answers, body_as
from books.book import Named
from dynamo_outbox import encode_item

TABLE = os.environ["BOOKS_TABLE"]
dynamodb = boto3.client("dynamodb")


@answers
def handler(event: dict[str, Any], context: object) -> Answer:
    name = body_as(Named, event).name
    try:
        dynamodb.delete_item(
            TableName=TABLE,
            Key=encode_item({"name": name}),
            ConditionExpression="attribute_exists(#name)",
            ExpressionAttributeNames={"#name": "name"},
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        return answer(404, {"message": f"book {name!r} does not exist"})
    return answer(204)
