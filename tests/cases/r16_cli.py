"""The command `decode`: one JSON line for each event or record, whatever eventData looks like; bombs are refused."""

import json
import subprocess
import sys


def run(document, name):
    """Print the exit status, the kinds of the lines and the last line of standard error."""
    text = document if isinstance(document, (str, bytes)) else json.dumps(document)
    process = subprocess.run(
        [sys.executable, "-m", "dynamo_outbox", "decode"],
        input=text if isinstance(text, bytes) else text.encode("utf8", "surrogatepass"),
        capture_output=True,
        timeout=60,
        check=False,
    )
    kinds = [next(iter(json.loads(line))) for line in process.stdout.splitlines()]
    errors = process.stderr.decode(errors="replace").strip().splitlines()
    print(f"{name:30} {process.returncode} {' '.join(kinds)}{' | '.join(errors)}")


deep = "[" * 100000 + "]" * 100000
run(deep, "100,000 lists")
run('{"Records":' + deep[:990] + "}", "broken")
item = {
    "pk": {"S": "x"},
    "sk": {"S": "y"},
    "eventId": {"S": "1"},
    "eventType": {"S": "T"},
    "eventTime": {"S": "2026-01-01T00:00:00Z"},
    "source": {"S": "s"},
    "eventVersion": {"N": "1"},
    "aggregateType": {"S": ""},
    "aggregateId": {"S": ""},
    "eventData": {"S": "{}"},
    "eventContext": {"S": "{}"},
    "expiresAt": {"N": "1"},
    "outboxFormat": {"N": "1"},
}
run(item, "item")
run({**item, "eventData": {"S": '{\n "a":\n 1\n}'}}, "pretty eventData")
run({**item, "eventData": {"S": '{"a":' + "[" * 5000 + "]" * 5000 + "}"}}, "deep eventData")
run({**item, "eventData": {"S": '{"a":' + "9" * 10000 + "}"}}, "10,000 digits")
run({**item, "eventData": {"S": '{"a":1e999999}'}}, "1e999999")
run({**item, "eventVersion": {"N": "9" * 10000}}, "version of 10,000 digits")
run({**item, "eventTime": {"S": "9" * 100000}}, "long time")
x = {"S": "a"}
for _ in range(450):
    x = {"L": [x]}


def records(time, key):
    change = {"ApproximateCreationDateTime": time, "Keys": {"a": key}, "SequenceNumber": "1"}
    return {"Records": [{"eventID": "1", "eventName": "INSERT", "dynamodb": change}]}


run(records(1, x), "450 deep L")
run(records(1e300, {"S": "x"}), "year 1e300")
run(records(1, {"N": "1e9999"}), "1e9999")
run(records(1, {"S": "\ud800"}), "half a surrogate pair")
run(records("2026-11-23T09:30:00+00:00", {"S": "x"}), "the AWS CLI's time")
run({"Messages": [{"MessageId": "m", "Body": json.dumps(item)}, {"MessageId": "n", "Body": "{}"}]}, "received messages")
run([{"messageId": "m", "body": json.dumps(records(1, {"S": "x"}))}], "records in a message")
run("\n".join(json.dumps({"Item": each}) for each in (item, {}, item)), "an export's lines")
run(b"\xff\xfe\x00", "bytes")
run(b'{"a": "\xff"}', "not UTF-8")
run("NaN", "NaN")
cloudevent = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "time": "2026-01-01T00:00:00Z"}
run({**cloudevent, "data": {"a": float("inf")}}, "inf in CloudEvent")
run({"Records": [{"body": "{}"}, 5, None]}, "odd messages")
run({"Records": [5, None, {"body": "x"}]}, "odd records")
run({"detail": 5, "source": 1}, "odd detail")
run({"Item": 5}, "odd item")
run({"outboxFormat": 5}, "odd format")
run({"Records": {"a": 1}}, "Records a map")
run("9" * 5000, "5000 digits")

# Prints:
# 100,000 lists                  1 dynamo-outbox: DecodeError: payload: standard input is not readable JSON: ...
# broken                         1 dynamo-outbox: DecodeError: payload: standard input is not readable JSON: ...
# item                           0 event
# pretty eventData               0 event
# deep eventData                 1 error
# 10,000 digits                  1 error
# 1e999999                       1 error
# version of 10,000 digits       1 error
# long time                      1 error
# 450 deep L                     1 error
# year 1e300                     1 error
# 1e9999                         1 error
# half a surrogate pair          0 change
# the AWS CLI's time             0 change
# received messages              1 event error
# records in a message           0 change
# an export's lines              1 event error event
# bytes                          1 dynamo-outbox: DecodeError: payload: standard input is not readable JSON: ...
# not UTF-8                      1 dynamo-outbox: DecodeError: payload: standard input is not readable JSON: ...
# NaN                            1 dynamo-outbox: DecodeError: payload: is a value of type float, not an object ...
# inf in CloudEvent              1 error
# odd messages                   1 error error error
# odd records                    1 error error error
# odd detail                     1 error
# odd item                       1 dynamo-outbox: DecodeError: payload: is an item, not its change; decode_item ...
# odd format                     1 error
# Records a map                  1 dynamo-outbox: DecodeError: payload: is an object with 'Records'; decode reads ...
# 5000 digits                    1 dynamo-outbox: DecodeError: payload: standard input is not readable JSON: ...
