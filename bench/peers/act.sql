-- One action of one player: one statement, so one round trip and one transaction.
WITH applied AS (
    UPDATE peers.sessions
    SET version = $2, session_id = $6, status = $7, stage = $8, total_score = $9, started_at = $10, ended_at = $11
    WHERE number = $1 AND version = $2 - 1
    RETURNING number
), logged AS (
    INSERT INTO peers.events (number, version, key, action, score, session_id, status, stage, total_score, at)
    SELECT number, $2, $3, $4, $5, $6, $7, $8, $9, $12 FROM applied
), improved AS (
    INSERT INTO peers.best AS held (number, total_score, achieved_at)
    SELECT number, $9, $11 FROM applied WHERE $7 IN (1, 2)
    ON CONFLICT (number) DO UPDATE SET total_score = excluded.total_score, achieved_at = excluded.achieved_at
    WHERE excluded.total_score > held.total_score
    RETURNING number
)
SELECT (SELECT count(*) FROM applied) AS applied, (SELECT count(*) FROM improved) AS improved
