-- The audit contract (docs/audit.md): read-only views for an independent auditor.
CREATE VIEW audit_journal AS
SELECT id AS id, kind, "key" AS idem_key, made_at AS at FROM payments_transaction

CREATE VIEW audit_entry AS
SELECT p.id || ':s' AS id, p.transaction_id AS journal_id, a.code AS account,
       substr(a.code, 1, instr(a.code, ':') - 1) AS kind, a.asset AS asset, -p.amount_micros AS amount
FROM payments_posting p JOIN payments_account a ON a.id = p.source_id
UNION ALL
SELECT p.id || ':t', p.transaction_id, a.code,
       substr(a.code, 1, instr(a.code, ':') - 1), a.asset, p.amount_micros
FROM payments_posting p JOIN payments_account a ON a.id = p.target_id

CREATE VIEW audit_payment AS
SELECT p.id AS id, p.rail AS method, 'eip155:' || x.chain_id AS chain, '0x' || lower(nullif(hex(x.token), '')) AS token,
       '0x' || lower(nullif(hex(x.payer), '')) AS payer, '0x' || lower(nullif(hex(x.nonce), '')) AS nonce, p.amount_micros AS amount, p.resource AS resource,
       p.state AS state, '0x' || lower(nullif(hex(t.tx_hash), '')) AS tx, p.sale_id AS journal_id
FROM payments_payment p
LEFT JOIN payments_authorization x ON x.payment_id = p.id
LEFT JOIN payments_transfer t ON t.payment_id = p.id AND t.orphaned_at IS NULL

CREATE VIEW audit_grant AS
SELECT id AS id, payment_id AS payment_id, NULL AS credit_id, buyer, resource,
       made_at AS at, revoked_at FROM payments_grant

CREATE VIEW audit_payout AS
SELECT NULL AS id, NULL AS publisher, NULL AS asset, NULL AS amount,
       NULL AS state, NULL AS tx, NULL AS journal_id WHERE 1 = 0

CREATE VIEW audit_voucher AS
SELECT NULL AS channel, NULL AS charged, NULL AS highest_seen,
       NULL AS claimed WHERE 1 = 0

CREATE VIEW audit_chain_seen AS
SELECT 'eip155:' || chain_id AS chain, block_number AS block, '0x' || lower(hex(tx_hash)) AS tx, log_index AS log,
       '0x' || lower(hex(sender)) AS "from", '0x' || lower(hex(recipient)) AS "to", '0x' || lower(hex(token)) AS token, CASE WHEN length(value) < 19 THEN CAST(value AS INTEGER) ELSE value END AS value
FROM payments_transfer WHERE orphaned_at IS NULL
