"""Empty the S3 buckets of a stack: ``STACK [--no-prompts]``.

CloudFormation does not delete a bucket that contains objects. The objects are records that Lambda stopped retrying and
that were never published, so this script asks before it deletes them.
"""

from __future__ import annotations

import sys

import boto3
from botocore.exceptions import ClientError


def main(stack: str, *options: str) -> int:
    """Report the number of objects in each bucket and delete them if the user agrees; return the exit code."""
    formation, s3 = boto3.client("cloudformation"), boto3.resource("s3")
    try:
        resources = formation.describe_stack_resources(StackName=stack)["StackResources"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        print(f"Stack {stack} does not exist in this account and Region.")
        return 0
    names = [each["PhysicalResourceId"] for each in resources if each["ResourceType"] == "AWS::S3::Bucket"]
    for bucket in map(s3.Bucket, names):
        held = sum(1 for _ in bucket.objects.all())
        if not held:
            continue
        print(f"{bucket.name} contains {held} objects: records that were never published.")
        if "--no-prompts" not in options and input("Delete them? [y/N] ").strip().lower() != "y":
            print("Nothing was deleted.")
            return 1
        bucket.objects.all().delete()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
