"""POST /book: write only the book; the event comes from the table's stream."""

import os
from typing import Any

import boto3

from books.api import Answer, answer, answers, body_as
from books.book import Book
from dynamo_outbox import encode_item

TABLE = os.environ["BOOKS_TABLE"]
dynamodb = boto3.client("dynamodb")


@answers
def handler(event: dict[str, Any], context: object) -> Answer:
    book = body_as(Book, event)
    try:
        dynamodb.put_item(
            TableName=TABLE,
            Item=encode_item(book.model_dump()),
            ConditionExpression="attribute_not_exists(#name)",
            ExpressionAttributeNames={"#name": "name"},
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        return answer(409, {"message": f"book {book.name!r} already exists"})
    return answer(201, book.model_dump())
