"""The tables of the metadata database."""

from __future__ import annotations

import sqlalchemy as sa

#: Raised with every change of the tables; :mod:`pydag_gcp.migration` brings older ones here.
SCHEMA_VERSION = 3

metadata = sa.MetaData()

#: Ordered by code points everywhere: moments and ids must sort on PostgreSQL as they do on SQLite.
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

schema_version = sa.Table("schema_version", metadata, sa.Column("version", sa.Integer, primary_key=True))

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", _TEXT, primary_key=True),
    sa.Column("dag_id", _TEXT, nullable=False, index=True),
    sa.Column("target", _TEXT, nullable=False),
    sa.Column("state", _TEXT, nullable=False),
    sa.Column("logical_date", _TEXT, nullable=False),
    sa.Column("definition", _TEXT, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("host", _TEXT, nullable=False),
    sa.Column("started", _TEXT, nullable=False),
    sa.Column("ended", _TEXT),
    sa.Column("error", _TEXT),
    # since version 2
    sa.Column("file", _TEXT),  # of the pipeline
    sa.Column("options", _TEXT),  # what a resume needs to plan the same again
    sa.Column("cancel_requested", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("epoch", sa.Integer),  # of the lease it was last driven under
    sa.Column("driven_since", _TEXT),  # when the process that drives it took it up
)

#: The ends of tasks, save for those that ended together with a try; see :mod:`pydag_gcp.ends`.
tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("run_id", _TEXT, sa.ForeignKey("runs.run_id"), primary_key=True),
    sa.Column("task_id", _TEXT, primary_key=True),
    sa.Column("state", _TEXT, nullable=False),
    sa.Column("result", _TEXT),
    sa.Column("error", _TEXT),
    sa.Column("ended", _TEXT, nullable=False),
    # since version 2
    sa.Column("cached_from", _TEXT),  # the run whose result it took
    sa.Column("reason", _TEXT),  # why it ran or not
)

tries = sa.Table(
    "tries",
    metadata,
    sa.Column("run_id", _TEXT, sa.ForeignKey("runs.run_id"), primary_key=True),
    sa.Column("task_id", _TEXT, primary_key=True),
    sa.Column("try_number", sa.Integer, primary_key=True),
    sa.Column("state", _TEXT, nullable=False),
    sa.Column("job_id", _TEXT),
    sa.Column("handle", _TEXT),
    sa.Column("error", _TEXT),
    sa.Column("started", _TEXT, nullable=False),
    sa.Column("submitted", _TEXT),
    sa.Column("ended", _TEXT),
    # since version 2
    sa.Column("reads", _TEXT),  # versions of what it reads, as seen before it began
    # since version 3, of its task, if that ended with it
    sa.Column("result", _TEXT),  # never NULL then: "null" is what a task returned that returned nothing
    sa.Column("reason", _TEXT),
)

# since version 2
records = sa.Table(
    "records",
    metadata,
    sa.Column("dag_id", _TEXT, primary_key=True),
    sa.Column("target", _TEXT, primary_key=True),
    sa.Column("task_id", _TEXT, primary_key=True),
    sa.Column("date", _TEXT, primary_key=True),  # before what follows, as the newest for a date is asked for
    sa.Column("fingerprint", _TEXT, primary_key=True),
    sa.Column("at", _TEXT, nullable=False),
    sa.Column("accumulating", sa.Boolean, nullable=False),
    sa.Column("record", _TEXT, nullable=False),
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("dag_id", _TEXT, primary_key=True),
    sa.Column("target", _TEXT, primary_key=True),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("run_id", _TEXT, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("host", _TEXT, nullable=False),
    sa.Column("mark", _TEXT),  # of the process, see liveness.py
    sa.Column("since", _TEXT, nullable=False),
    sa.Column("expires", sa.DateTime(timezone=True)),  # by the database's clock; None: a kernel lock says
)
