"""A SQL script of the 2022 pyDag, run by BigQuery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydag_gcp.operator import Context
from pydag_gcp.operators.query import BigQueryQuery

if TYPE_CHECKING:
    from pydag_gcp.sql import Query, Template


class FormattedQuery(BigQueryQuery):
    """Run SQL whose placeholders are ``{name}``, as ``str.format`` had them; params are text.

    Only made of definitions of 2022 (:mod:`pydag_gcp.pydag2022.definition`): what a value may be depends on its place.
    """

    def filled(self, ctx: Context, template: Template) -> Query:
        """See :func:`pydag_gcp.pydag2022.script.fill`."""
        from pydag_gcp.pydag2022.script import fill

        return fill(template, self.params, where=self._place)
