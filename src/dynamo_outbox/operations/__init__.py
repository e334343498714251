"""Operations of the command, as functions for scripts and Lambda functions."""
