"""Operations of the command: decode payloads into JSON lines."""
