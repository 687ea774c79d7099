"""What a database is made of, as PostgreSQL understood it: two databases that are equal here have the same schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.storage.playing import Sql

#: Alembic's own, which schema.sql leaves to storage/schema.py.
_VERSION_TABLE: Final = "alembic_version"

_OURS: Final = "NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"

#: Object identifiers are left out, or written as names; $1 is the version table, which is left out too.
_QUERIES: Final[Mapping[str, str]] = {
    "schemas": """
        SELECT n.nspname, obj_description(n.oid, 'pg_namespace') FROM pg_namespace n WHERE n.nspname !~ '^pg_'
    """,
    "relations": f"""
        SELECT n.nspname, c.relname, c.relkind::text, c.relpersistence::text, c.reloptions, c.relrowsecurity,
               c.relforcerowsecurity, c.relreplident::text, c.reltablespace, c.relacl::text, am.amname,
               obj_description(c.oid, 'pg_class'), pg_get_viewdef(c.oid),
               (SELECT array_agg(i.inhparent::regclass::text) FROM pg_inherits i WHERE i.inhrelid = c.oid)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_am am ON am.oid = c.relam
        WHERE n.nspname {_OURS} AND c.relname !~ ('^' || $1)
    """,
    "columns": f"""
        SELECT c.oid::regclass::text, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
               pg_get_expr(d.adbin, d.adrelid), a.attidentity::text, a.attgenerated::text, l.collname,
               a.attstorage::text, a.attcompression::text, a.attstattarget, a.attoptions, a.attacl::text,
               col_description(c.oid, a.attnum)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        LEFT JOIN pg_collation l ON l.oid = a.attcollation
        WHERE n.nspname {_OURS} AND a.attnum > 0 AND c.relname !~ ('^' || $1)
    """,
    "constraints": f"""
        SELECT o.conrelid::regclass::text, o.conname, o.contype::text, pg_get_constraintdef(o.oid), o.condeferrable,
               o.condeferred, o.convalidated, obj_description(o.oid, 'pg_constraint')
        FROM pg_constraint o JOIN pg_namespace n ON n.oid = o.connamespace
        WHERE n.nspname {_OURS} AND o.conrelid::regclass::text <> $1
    """,
    "indexes": f"""
        SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), i.indisunique, i.indisprimary,
               i.indisvalid, i.indisclustered, i.indisreplident
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname {_OURS} AND i.indrelid::regclass::text <> $1
    """,
    "triggers": "SELECT pg_get_triggerdef(oid), tgenabled::text FROM pg_trigger WHERE NOT tgisinternal",
    "rules": f"SELECT * FROM pg_rules WHERE schemaname {_OURS}",
    "policies": "SELECT * FROM pg_policies",
    "routines": f"""
        SELECT p.oid::regprocedure::text, pg_get_functiondef(p.oid), obj_description(p.oid, 'pg_proc')
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname {_OURS} AND p.prokind <> 'a'
    """,
    "types": f"""
        SELECT t.oid::regtype::text, t.typtype::text, format_type(t.typbasetype, t.typtypmod), t.typnotnull,
               t.typdefault, (SELECT array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid)
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE n.nspname {_OURS} AND t.typname !~ ('^_?' || $1)
    """,
    "sequences": "SELECT schemaname, sequencename, data_type::text, start_value, increment_by, cycle FROM pg_sequences",
    "statistics": "SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext",
    "extensions": "SELECT extname, extversion FROM pg_extension",
    "collations": f"""
        SELECT l.collname FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace WHERE n.nspname {_OURS}
    """,
}

_TABLES: Final = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


async def catalog(sql: Sql) -> dict[str, list[str]]:
    """Every object of the database, by kind."""
    found: dict[str, list[str]] = {}
    for kind, query in _QUERIES.items():
        rows = await sql.fetch(query, *([_VERSION_TABLE] if "$1" in query else []))
        found[kind] = sorted(repr(tuple(row)) for row in rows)
    return found


async def contents(sql: Sql, *, identity: bool = True) -> dict[str, list[str]]:
    """Every row of every table. Without `identity` the deployment's random id is left out."""
    found: dict[str, list[str]] = {}
    for table in sorted(row["tablename"] for row in await sql.fetch(_TABLES)):
        rows = await sql.fetch(f"SELECT * FROM {table}")
        kept = [{name: value for name, value in row.items() if identity or name != "id"} for row in rows]
        found[table] = sorted(map(repr, kept))
    return found
