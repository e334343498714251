"""A pipe's definition refuses what CreatePipe would: terraform-provider-aws#41573, #30773.

The ranges are those of botocore's pipes model and of the ValidationErrorFields that the reporter got.
"""

from datetime import timedelta

from dynamo_outbox.pipes import InvalidPatternError, PipeDefinition

good = {"patterns": (), "input_template": None, "detail_type": "T", "source": "S"}
PipeDefinition(**good)
for wrong in (
    {"maximum_record_age": timedelta(0)},
    {"maximum_record_age": timedelta(seconds=30)},
    {"maximum_record_age": timedelta(days=8)},
    {"batch_size": 0},
    {"batch_size": 10_001},
    {"maximum_retry_attempts": 10_001},
    {"maximum_retry_attempts": -2},
    {"starting_position": "AT_TIMESTAMP"},
    {"starting_position": "latest"},
    {"source": ""},
    {"source": "s" * 257},
    {"detail_type": ""},
    {"detail_type": "T" * 129},
    {"resources": tuple(f"arn{i}" for i in range(11))},
):
    try:
        PipeDefinition(**good | wrong)
        print("WRONG accepted", wrong)
    except InvalidPatternError as error:
        print(error)
bus = {"EventBridgeEventBusParameters": {"DetailType": "T", "Source": "S"}}
try:
    definition = PipeDefinition.from_parameters({"FilterCriteria": {"Filters": []}}, bus)
    print("WRONG StartingPosition is made up:", definition.starting_position)
except InvalidPatternError as error:
    print(error)

# Prints:
# MaximumRecordAgeInSeconds: must be from 60 to 604,800, not 0
# MaximumRecordAgeInSeconds: must be from 60 to 604,800, not 30
# MaximumRecordAgeInSeconds: must be from 60 to 604,800, not 691,200
# BatchSize: must be from 1 to 10,000, not 0
# BatchSize: must be from 1 to 10,000, not 10,001
# MaximumRetryAttempts: must be from -1 to 10,000, not 10,001
# MaximumRetryAttempts: must be from -1 to 10,000, not -2
# StartingPosition: must be TRIM_HORIZON or LATEST, not 'AT_TIMESTAMP'
# StartingPosition: must be TRIM_HORIZON or LATEST, not 'latest'
# Source: characters: must be from 1 to 256, not 0
# Source: characters: must be from 1 to 256, not 257
# DetailType: characters: must be from 1 to 128, not 0
# DetailType: characters: must be from 1 to 128, not 129
# Resources: entries: must be from 0 to 10, not 11
# DynamoDBStreamParameters is missing: the pipe's source must be a DynamoDB stream
