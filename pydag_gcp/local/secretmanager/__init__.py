"""Secret Manager, local: secrets and their versions over gRPC, on Dataproc's port.

A call comes in at ``service``, which obeys Google's contract; ``vault`` keeps one file for each secret, which only its
owner may read. The values stand there as they are: the local cloud protects them by file permissions alone.
"""
