"""Empty a stack's buckets, which CloudFormation refuses to delete while anything is in them: ``STACK [--no-prompts]``.

What is in them was never published: the records that Lambda gave up. So it asks first.
"""

from __future__ import annotations

import sys

import boto3
from botocore.exceptions import ClientError


def main(stack: str, *options: str) -> int:
    """Say how much is in the buckets and, if that is wanted, delete it."""
    formation, s3 = boto3.client("cloudformation"), boto3.resource("s3")
    try:
        resources = formation.describe_stack_resources(StackName=stack)["StackResources"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        print(f"There is no stack {stack} here.")
        return 0
    names = [each["PhysicalResourceId"] for each in resources if each["ResourceType"] == "AWS::S3::Bucket"]
    for bucket in map(s3.Bucket, names):
        held = sum(1 for _ in bucket.objects.all())
        if not held:
            continue
        print(f"{bucket.name} holds {held} objects: records that were never published.")
        if "--no-prompts" not in options and input("Delete them? [y/N] ").strip().lower() != "y":
            print("Nothing was deleted.")
            return 1
        bucket.objects.all().delete()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
