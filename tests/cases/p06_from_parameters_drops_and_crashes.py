"""A template read by from_parameters and written back by source_parameters loses no parameter.

CloudFormation's functions are refused by the parameter's name.
"""

from dynamo_outbox.pipes import PipeDefinition

stream = {
    "StartingPosition": "TRIM_HORIZON",
    "BatchSize": 5,
    "MaximumBatchingWindowInSeconds": 20,
    "ParallelizationFactor": 3,
    "MaximumRetryAttempts": 7,
    "MaximumRecordAgeInSeconds": 600,
}
source = {"DynamoDBStreamParameters": stream}
bus = {"EventBridgeEventBusParameters": {"DetailType": "T", "Source": "S"}}
back = PipeDefinition.from_parameters(source, bus).source_parameters("arn:dlq")["DynamoDBStreamParameters"]
print("lost:", {name: value for name, value in stream.items() if back.get(name) != value})
print("new:", {name: value for name, value in back.items() if name not in stream})
sub = {"Fn::Sub": "{}"}
for source_parameters, target_parameters in (
    (source, {"InputTemplate": sub} | bus),
    (source | {"FilterCriteria": {"Filters": [{"Pattern": sub}]}}, bus),
    (source | {"FilterCriteria": {"Fn::If": ["Filtered", {"Filters": []}, {"Ref": "AWS::NoValue"}]}}, bus),
    (source, {"EventBridgeEventBusParameters": {"DetailType": "T", "Source": "S", "Resources": [sub]}}),
):
    try:
        print("WRONG", PipeDefinition.from_parameters(source_parameters, target_parameters))
    except Exception as error:
        print(f"{type(error).__name__}: {error}")

# Prints:
# lost: {}
# new: {'DeadLetterConfig': {'Arn': 'arn:dlq'}}
# InvalidPatternError: TargetParameters.InputTemplate is {'Fn::Sub': '{}'}: put the values of ...
# InvalidPatternError: Filters[0].Pattern is {'Fn::Sub': '{}'}: put the values of CloudFormation's functions in first
# InvalidPatternError: FilterCriteria is {'Fn::If': ...}: put the values of CloudFormation's functions in first
# InvalidPatternError: EventBridgeEventBusParameters.Resources[0] is {'Fn::Sub': '{}'}: put the values of ...
