"""What an auditor asks of all sagas at once. No row may answer any of these questions."""

from collections.abc import Mapping

# Made before the questions. `stands`: how many effects of a saga were not undone. `waiting`:
# steps whose compensation was given up, and how many open alerts somebody has about each.
VIEWS = """
    CREATE TEMP TABLE stands AS
        SELECT saga_id, count(*) FILTER (WHERE done > undone) AS steps,
               array_agg(step ORDER BY place) FILTER (WHERE done > undone) AS names
        FROM audit.effects GROUP BY saga_id;
    ALTER TABLE stands ADD PRIMARY KEY (saga_id);
    CREATE TEMP TABLE waiting AS
        SELECT saga_id, planned.value ->> 'name' AS step, count(alerts.key) AS alerts
        FROM sagas
        CROSS JOIN LATERAL json_array_elements(plan) WITH ORDINALITY AS planned (value, number)
        JOIN LATERAL json_array_elements(steps) WITH ORDINALITY AS step (value, number)
            USING (number)
        LEFT JOIN alerts ON alerts.key = 'saga|' || saga_id || '|' || (planned.value ->> 'name')
            AND alerts.status = 'open'
        WHERE state = 'compensating' AND step.value ->> 'status' = 'compensation_failed'
        GROUP BY saga_id, planned.value ->> 'name';
    ANALYZE stands, waiting;
"""

LOST: Mapping[str, str] = {
    "asked for and unknown": """
        SELECT saga_id FROM audit.asked LEFT JOIN sagas USING (saga_id)
        WHERE sagas.saga_id IS NULL
    """,
    "completed, and an effect is missing": """
        SELECT saga_id, names FROM sagas LEFT JOIN stands USING (saga_id)
        WHERE state = 'completed' AND coalesce(stands.steps, 0) <> json_array_length(sagas.steps)
    """,
    "failed, and an effect was not undone": """
        SELECT saga_id, names FROM sagas JOIN stands USING (saga_id)
        WHERE state = 'failed' AND stands.steps > 0
    """,
    "waiting, and the effect that resists is gone, or not the last one": """
        SELECT saga_id, step, names FROM waiting LEFT JOIN stands USING (saga_id)
        WHERE step IS DISTINCT FROM names[array_length(names, 1)]
    """,
    "ended, and nobody was told so": """
        SELECT saga_id, state, outcome FROM sagas LEFT JOIN audit.told USING (saga_id)
        WHERE state IN ('completed', 'failed') AND outcome IS DISTINCT FROM state
    """,
}

DOUBLED: Mapping[str, str] = {
    "an effect was done or undone more than once": """
        SELECT saga_id, step, done, undone FROM audit.effects WHERE done > 1 OR undone > done
    """,
    "a saga that nobody asked for": """
        SELECT saga_id FROM sagas LEFT JOIN audit.asked USING (saga_id)
        WHERE asked.saga_id IS NULL
    """,
    "an effect that nobody commanded": """
        SELECT saga_id, step FROM audit.effects WHERE NOT EXISTS (
            SELECT FROM saga_history AS line
            WHERE line.saga_id = effects.saga_id AND line.step = effects.step
            AND line.after = 'executing')
    """,
    "told of an end that it has not": """
        SELECT saga_id, state, outcome FROM audit.told LEFT JOIN sagas USING (saga_id)
        WHERE state IS DISTINCT FROM outcome
    """,
}

STUCK: Mapping[str, str] = {
    "not ended, and nobody knows why": """
        SELECT saga_id, state, version, wake_at FROM sagas LEFT JOIN waiting USING (saga_id)
        WHERE state NOT IN ('completed', 'failed') AND waiting.saga_id IS NULL
    """,
    "waiting for a person without exactly one open alert": """
        SELECT saga_id, step, alerts FROM waiting WHERE alerts <> 1
    """,
}

PROBLEMS: Mapping[str, str] = {
    "ended otherwise than it had to": """
        SELECT saga_id, ends, state FROM audit.asked JOIN sagas USING (saga_id)
        WHERE ends <> state
    """,
    "the history is not 1, 2, 3, … up to the saga's version": """
        SELECT saga_id, sagas.version, lines, last
        FROM sagas LEFT JOIN (
            SELECT saga_id, count(*) AS lines, min(version) AS first, max(version) AS last
            FROM saga_history GROUP BY saga_id
        ) AS told USING (saga_id)
        WHERE lines IS DISTINCT FROM sagas.version OR first <> 1 OR last <> sagas.version
    """,
    "left a state that it had not entered": """
        SELECT saga_id, step, version, entered, before FROM (
            SELECT saga_id, step, version, before,
                   lag(after) OVER (PARTITION BY saga_id, step ORDER BY version) AS entered
            FROM saga_history
        ) AS line WHERE entered <> before
    """,
    "a dead letter of a kind that nobody has asked for": """
        SELECT id, reason, saga_id, step_name, error
        FROM dead_letters LEFT JOIN audit.asked USING (saga_id)
        WHERE NOT CASE reason
            WHEN 'late_success' THEN asked.saga_type = 'HastyOrder'
            WHEN 'compensation_exhausted' THEN asked.saga_type = 'HastyOrder' OR asked.is_stubborn
            ELSE false END
    """,
    "an open dead letter about a compensation that is not waiting": """
        SELECT id, saga_id, step_name, dead_letters.status
        FROM dead_letters LEFT JOIN waiting USING (saga_id)
        WHERE reason = 'compensation_exhausted' AND dead_letters.status IN ('open', 'replaying')
        AND waiting.step IS DISTINCT FROM step_name
    """,
}
