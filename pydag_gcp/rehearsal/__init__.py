"""``pydag rehearse``: a pipeline runs again and again, each time with one thing going wrong, to come to the same.

``rehearser`` leads. A ``boundary`` is a call at which something can go wrong, a ``disturbance`` what; a ``round`` is
one run with one of them, by real processes (``process``) against a throw-away copy of the local cloud (``cloud``).
``world`` sees what a round left behind, ``comparison`` says how it differs from what the undisturbed run left, and
``report`` prints it.
"""
