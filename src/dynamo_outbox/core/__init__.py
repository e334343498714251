"""What decides. Nothing in here knows a clock, a random source, boto3 or pydantic: data, `now` and tokens come in as
arguments, data goes out. A test holds this."""
