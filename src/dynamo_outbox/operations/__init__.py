"""Operations of the command, for scripts and functions too: decode payloads, replay events."""
