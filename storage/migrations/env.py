"""Run by alembic for every command; the connection comes from storage/schema.py, and where there is none, the SQL is
written down instead."""

from alembic import context

if context.is_offline_mode():
    context.configure(dialect_name="postgresql", transactional_ddl=True)
else:
    context.configure(connection=context.config.attributes["connection"], transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
