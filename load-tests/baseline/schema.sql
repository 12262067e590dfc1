-- The baseline: what a PostgreSQL function does for one movement with the same checks and the same
-- promises. Integer keys, which are smaller and faster than the product's: the comparison favours the baseline.

CREATE TABLE balance (
    tenant     integer NOT NULL,
    item       bigint  NOT NULL,
    location   bigint  NOT NULL,
    on_hand    bigint  NOT NULL, -- millionths of the base unit
    value      bigint  NOT NULL, -- hundredths of the currency
    last_seq   bigint  NOT NULL,
    last_cost  bigint  NOT NULL, -- of the last movement: an UPDATE cannot return what was there before
    PRIMARY KEY (tenant, item, location)
) WITH (fillfactor = 60); -- room for heap-only updates

CREATE TABLE movement (
    tenant         integer     NOT NULL,
    item           bigint      NOT NULL,
    location       bigint      NOT NULL,
    seq            bigint      NOT NULL, -- 1, 2, 3 without gaps
    kind           smallint    NOT NULL,
    quantity       bigint      NOT NULL, -- signed
    balance_before bigint      NOT NULL,
    balance_after  bigint      NOT NULL,
    value          bigint      NOT NULL, -- signed
    value_after    bigint      NOT NULL,
    idem_key       bigint      NOT NULL,
    source_type    smallint    NOT NULL,
    source_id      bigint      NOT NULL,
    source_line    integer     NOT NULL,
    occurred_at    timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant, item, location, seq)
);
CREATE UNIQUE INDEX movement_key ON movement (tenant, idem_key);

-- round_half_away(value * quantity / on_hand), all positive. A real system multiplies in numeric; here the
-- products fit a bigint, which is faster.
CREATE FUNCTION cost_of(value bigint, quantity bigint, on_hand bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$ SELECT (2 * value * quantity + on_hand) / (2 * on_hand) $$;

-- Opening stock: 10,000,000 units at 1.25 each, as movement 1.
CREATE PROCEDURE open_items(items integer) LANGUAGE sql AS $$
    INSERT INTO balance SELECT 1, i, 1, 10000000000000, 1250000000, 1, 0 FROM generate_series(1, items) i;
    INSERT INTO movement
        SELECT 1, i, 1, 1, 1, 10000000000000, 0, 10000000000000, 1250000000, 1250000000,
               -i, 1, i, 1, now(), now()
        FROM generate_series(1, items) i;
$$;

-- Posts one issue: idempotency look-up, one guarded UPDATE under the row lock, the movement with its
-- running balance. Safe to repeat with the same key.
CREATE FUNCTION post_movement(
    p_tenant integer, p_item bigint, p_location bigint, p_quantity bigint, p_key bigint,
    OUT seq bigint, OUT balance_after bigint, OUT replayed boolean
) LANGUAGE plpgsql AS $$
DECLARE
    b record;
BEGIN
    SELECT m.seq, m.balance_after INTO seq, balance_after
        FROM movement m WHERE m.tenant = p_tenant AND m.idem_key = p_key;
    replayed := FOUND;
    IF replayed THEN RETURN; END IF;

    UPDATE balance SET
        on_hand = on_hand - p_quantity,
        value = value - cost_of(value, p_quantity, on_hand),
        last_cost = cost_of(value, p_quantity, on_hand),
        last_seq = last_seq + 1
    WHERE tenant = p_tenant AND item = p_item AND location = p_location AND on_hand >= p_quantity
    RETURNING on_hand, value, last_cost, last_seq INTO b;
    IF NOT FOUND THEN RAISE EXCEPTION 'INSUFFICIENT_STOCK'; END IF;

    seq := b.last_seq;
    balance_after := b.on_hand;
    INSERT INTO movement VALUES (
        p_tenant, p_item, p_location, b.last_seq, 2, -p_quantity, b.on_hand + p_quantity, b.on_hand,
        -b.last_cost, b.value, p_key, 2, p_key, 1, now(), clock_timestamp());
END $$;

-- `count` items out of 1..items, in ascending order: two batches never wait for each other in a circle.
CREATE FUNCTION random_items(count integer, items integer) RETURNS bigint[] LANGUAGE sql VOLATILE AS $$
    SELECT array_agg(i ORDER BY i)
    FROM (SELECT 1 + floor(random() * items)::bigint AS i FROM generate_series(1, count)) s
$$;

-- Posts one issue per item in one transaction, one after the other. Keys are p_key + 1, p_key + 2, …
CREATE FUNCTION post_batch_loop(p_tenant integer, p_items bigint[], p_quantity bigint, p_key bigint)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. cardinality(p_items) LOOP
        PERFORM post_movement(p_tenant, p_items[i], 1, p_quantity, p_key + i);
    END LOOP;
END $$;

-- The same in four statements over the whole set. Joins are forced to index probes: with its estimates the
-- planner would scan the tables.
CREATE FUNCTION post_batch_set(p_tenant integer, p_items bigint[], p_quantity bigint, p_key bigint)
RETURNS void LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    updated integer;
BEGIN
    IF EXISTS (
        SELECT FROM movement WHERE tenant = p_tenant
        AND idem_key = ANY (SELECT p_key + i FROM generate_series(1, cardinality(p_items)) i)
    ) THEN
        RAISE EXCEPTION 'part of the batch is posted'; -- never in this load; a replay would be answered here
    END IF;

    PERFORM FROM balance WHERE tenant = p_tenant AND location = 1 AND item = ANY (p_items) ORDER BY item FOR UPDATE;

    INSERT INTO movement
    SELECT p_tenant, l.item, 1, b.last_seq + l.n, 2, -p_quantity,
           b.on_hand - (l.n - 1) * p_quantity, b.on_hand - l.n * p_quantity,
           cost_of(b.value, (l.n - 1) * p_quantity, b.on_hand) - cost_of(b.value, l.n * p_quantity, b.on_hand),
           b.value - cost_of(b.value, l.n * p_quantity, b.on_hand),
           p_key + l.i, 2, p_key, l.i, now(), clock_timestamp()
    FROM (SELECT item, i, row_number() OVER (PARTITION BY item ORDER BY i) AS n
          FROM unnest(p_items) WITH ORDINALITY AS u (item, i)) l
    JOIN balance b ON b.tenant = p_tenant AND b.item = l.item AND b.location = 1;

    UPDATE balance b SET
        on_hand = b.on_hand - t.n * p_quantity,
        value = b.value - cost_of(b.value, t.n * p_quantity, b.on_hand),
        last_seq = b.last_seq + t.n
    FROM (SELECT item, count(*) AS n FROM unnest(p_items) AS item GROUP BY item) t
    WHERE b.tenant = p_tenant AND b.item = t.item AND b.location = 1 AND b.on_hand >= t.n * p_quantity;
    GET DIAGNOSTICS updated = ROW_COUNT;
    IF updated <> (SELECT count(DISTINCT item) FROM unnest(p_items) AS item) THEN
        RAISE EXCEPTION 'INSUFFICIENT_STOCK';
    END IF;
END $$;

-- Items whose stored balance is not the sum of their movements, or whose sequence has a gap.
CREATE VIEW wrong_item AS
    SELECT tenant, item, location
    FROM balance b
    FULL JOIN (
        SELECT tenant, item, location, sum(quantity) AS on_hand, sum(value) AS value,
               count(*) AS movements, min(seq) AS first_seq, max(seq) AS last_seq
        FROM movement GROUP BY tenant, item, location
    ) m USING (tenant, item, location)
    WHERE (b.on_hand, b.value, b.last_seq, b.last_seq, 1)
        IS DISTINCT FROM (m.on_hand, m.value, m.last_seq, m.movements, m.first_seq);
