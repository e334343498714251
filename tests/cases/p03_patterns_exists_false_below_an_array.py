"""`exists: false` asks whether the path leads anywhere in the whole event, not whether a member of an array lacks it.

As event-ruler 2.0.1 does, with both of its finders.
"""

from dynamo_outbox.pipes import matches

absent = {"lines": {"error": [{"exists": False}]}}
facts = [
    (absent, {"lines": [{"error": "x"}, {"sku": "b"}]}, False),
    (absent, {"lines": [{"sku": "a"}, {"error": "x"}]}, False),
    (absent, {"lines": [{"error": "x"}, {}]}, False),
    (absent, {"lines": [[{"error": "x"}], [{}]]}, False),
    (absent, {"lines": [{"sku": "a"}, {"sku": "b"}]}, True),
    (absent, {"lines": []}, True),
    (
        {"lines": {"error": [{"exists": False}], "sku": ["b"]}},
        {"lines": [{"error": "x", "sku": "a"}, {"sku": "b"}]},
        False,
    ),
    # a pipe's filter on a DynamoDB list of maps
    (
        {"dynamodb": {"NewImage": {"lines": {"L": {"M": {"error": {"S": [{"exists": False}]}}}}}}},
        {"dynamodb": {"NewImage": {"lines": {"L": [{"M": {"error": {"S": "x"}}}, {"M": {"sku": {"S": "b"}}}]}}}},
        False,
    ),
]
for pattern, event, expected in facts:
    print("ok" if matches(pattern, event) is expected else "WRONG", event)

# Prints:
# ok {'lines': [{'error': 'x'}, {'sku': 'b'}]}
# ok {'lines': [{'sku': 'a'}, {'error': 'x'}]}
# ok {'lines': [{'error': 'x'}, {}]}
# ok {'lines': [[{'error': 'x'}], [{}]]}
# ok {'lines': [{'sku': 'a'}, {'sku': 'b'}]}
# ok {'lines': []}
# ok {'lines': [{'error': 'x', 'sku': 'a'}, {'sku': 'b'}]}
# ok {'dynamodb': {'NewImage': {'lines': {'L': [{'M': {'error': {'S': 'x'}}}, {'M': {'sku': {'S': 'b'}}}]}}}}
