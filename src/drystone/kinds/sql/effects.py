"""What a statement may do, judged by its words: whether it can be repeated, and whether there is anything to undo. Pure.

The judgement errs on one side only: what is called a mere reader changes nothing. A SELECT may call a function, and a function
may do anything, so one that is not known to be harmless makes it OTHER.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum


class Effect(Enum):
    """What a statement may do. When in doubt it is OTHER."""

    READS = "reads"
    ROWS = "rows"
    """It changes rows, as many as the database counts: none means that nothing is different."""
    TRANSACTION = "transaction"
    """It begins or ends a transaction."""
    OTHER = "other"


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_READERS = _set("SELECT VALUES TABLE WITH SHOW EXPLAIN DESCRIBE")
_ROW_CHANGERS = _set("INSERT UPDATE DELETE MERGE REPLACE")
_TRANSACTION = _set("BEGIN START COMMIT END ABORT ROLLBACK")
_WRITERS = _ROW_CHANGERS | _set(
    "INTO CREATE DROP ALTER TRUNCATE CALL EXEC EXECUTE DO COPY GRANT REVOKE LOCK SET REFRESH ANALYZE VACUUM"
)
_BEFORE_PARENTHESES = _set(
    """ALL AND ANY ARRAY AS BETWEEN BY CASE CAST DISTINCT ELSE EXCEPT EXISTS FILTER FROM GROUP HAVING ILIKE IN INTERSECT INTERVAL IS
    JOIN LATERAL LIKE LIMIT MATERIALIZED NOT OFFSET ON OR OVER RECURSIVE ROW SELECT SETS SOME THEN UNION USING VALUES WHEN WHERE WITHIN
    BIT CHAR CHARACTER DECIMAL FLOAT NUMERIC TIME TIMESTAMP VARCHAR VARYING"""
)
_HARMLESS = _set(
    """ABS ARRAY_AGG AVG BOOL_AND BOOL_OR CEIL CEILING CHAR_LENGTH COALESCE CONCAT COUNT CURRENT_DATE CURRENT_TIMESTAMP CURRENT_USER DATE
    DATETIME DATE_PART DATE_TRUNC DENSE_RANK EXTRACT FIRST_VALUE FLOOR FORMAT GENERATE_SERIES GREATEST GROUP_CONCAT HEX IFNULL INSTR JSON
    JSONB_AGG JSONB_BUILD_OBJECT JSON_AGG JSON_ARRAY JSON_BUILD_OBJECT JSON_EXTRACT JSON_GROUP_ARRAY JSON_OBJECT JULIANDAY LAG LAST_VALUE
    LEAD LEAST LENGTH LOWER LPAD LTRIM MAX MD5 MIN MOD NOW NTILE NULLIF PERCENT_RANK PG_DATABASE_SIZE PG_IS_IN_RECOVERY
    PG_TOTAL_RELATION_SIZE POSITION POWER PRINTF RANDOM RANK ROUND ROW_NUMBER ROW_TO_JSON RPAD RTRIM SIGN SQLITE_VERSION SQRT STRFTIME
    STRING_AGG SUBSTR SUBSTRING SUM TOTAL TO_CHAR TO_REGCLASS TRIM TYPEOF UNIXEPOCH UNNEST UPPER VERSION ZEROBLOB"""
)


def effect_of(words: Sequence[str], calls: Collection[str]) -> Effect:
    """The effect of a statement.

    words: its words in capitals, without texts, comments and quoted names.
    calls: those of them that stand before a parenthesis; a quoted name there is `"`.
    """
    first = words[0] if words else ""
    if first in _TRANSACTION:
        return Effect.OTHER if first == "ROLLBACK" and "TO" in words[1:3] else Effect.TRANSACTION
    if first in _ROW_CHANGERS:
        return Effect.ROWS
    if first not in _READERS or not _WRITERS.isdisjoint(words):
        return Effect.OTHER
    return Effect.READS if set(calls) <= _BEFORE_PARENTHESES | _HARMLESS else Effect.OTHER


def is_query(words: Sequence[str]) -> bool:
    """It only asks for rows, though the functions in it may do more: the server can give them one by one."""
    return words[0] in ("SELECT", "VALUES", "WITH") and _WRITERS.isdisjoint(words) if words else False
