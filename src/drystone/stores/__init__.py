"""Where runs are kept: `ports.Journal` over SQLite and PostgreSQL (`sql`) and in memory (`memory`).

What is stored is told by `migrations/`, what is asked by `queries.sql`; both databases run the same text.
"""
