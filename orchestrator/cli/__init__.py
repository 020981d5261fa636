"""The command `saga`. What a command needs is imported when it runs, so that help is fast."""
