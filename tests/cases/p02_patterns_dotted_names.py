"""AWS joins field names with a dot when it compiles a pattern.

User guide, "Considerations when creating event patterns"; event-ruler's README, "Compiled rules and JSON keys with
dots"; localstack#10599's cases dot_joining_*, validated against AWS's TestEventPattern.
"""

from dynamo_outbox.pipes import matches

facts = [  # pattern, event, AWS's answer
    ({"detail": {"state.status": ["running"]}}, {"detail": {"state": {"status": "running"}}}, True),
    ({"detail": {"state": {"status": ["running"]}}}, {"detail": {"state.status": "running"}}, True),
    ({"detail": {"state.status": [{"exists": False}]}}, {"detail": {"state": {"status": "running"}}}, False),
    ({"detail": {"state.status": [{"anything-but": "off"}]}}, {"detail": {"state": {"status": "running"}}}, True),
    ({"a.b": {"c": [1]}}, {"a": {"b.c": 1}}, True),
    ({"a": {"b": [1]}, "a.b": [2]}, {"a": {"b": 2}}, True),  # one field, the later wins
    ({"dynamodb.NewImage.status.S": ["PAID"]}, {"dynamodb": {"NewImage": {"status": {"S": "PAID"}}}}, True),
]
for pattern, event, expected in facts:
    print("ok" if matches(pattern, event) is expected else "WRONG", pattern)

# Prints:
# ok {'detail': {'state.status': ['running']}}
# ok {'detail': {'state': {'status': ['running']}}}
# ok {'detail': {'state.status': [{'exists': False}]}}
# ok {'detail': {'state.status': [{'anything-but': 'off'}]}}
# ok {'a.b': {'c': [1]}}
# ok {'a': {'b': [1]}, 'a.b': [2]}
# ok {'dynamodb.NewImage.status.S': ['PAID']}
