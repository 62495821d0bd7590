-- The audit contract (docs/audit.md): read-only views for an independent auditor.
CREATE VIEW audit_journal AS
SELECT replace(id::text, '-', '') AS id, kind, "key" AS idem_key, made_at AS at FROM payments_transaction

CREATE VIEW audit_entry AS
SELECT replace(p.id::text, '-', '') || ':s' AS id, replace(p.transaction_id::text, '-', '') AS journal_id, a.code AS account,
       split_part(a.code, ':', 1) AS kind, a.asset AS asset, -p.amount_micros AS amount
FROM payments_posting p JOIN payments_account a ON a.id = p.source_id
UNION ALL
SELECT replace(p.id::text, '-', '') || ':t', replace(p.transaction_id::text, '-', ''), a.code,
       split_part(a.code, ':', 1), a.asset, p.amount_micros
FROM payments_posting p JOIN payments_account a ON a.id = p.target_id

CREATE VIEW audit_payment AS
SELECT replace(p.id::text, '-', '') AS id, p.rail AS method, 'eip155:' || x.chain_id AS chain, '0x' || encode(x.token, 'hex') AS token,
       '0x' || encode(x.payer, 'hex') AS payer, '0x' || encode(x.nonce, 'hex') AS nonce, p.amount_micros AS amount, p.resource AS resource,
       p.state AS state, '0x' || encode(t.tx_hash, 'hex') AS tx, replace(p.sale_id::text, '-', '') AS journal_id
FROM payments_payment p
LEFT JOIN payments_authorization x ON x.payment_id = p.id
LEFT JOIN payments_transfer t ON t.payment_id = p.id AND t.orphaned_at IS NULL

CREATE VIEW audit_grant AS
SELECT replace(id::text, '-', '') AS id, replace(payment_id::text, '-', '') AS payment_id, NULL::text AS credit_id, buyer, resource,
       made_at AS at, revoked_at FROM payments_grant

CREATE VIEW audit_payout AS
SELECT NULL::text AS id, NULL::text AS publisher, NULL::text AS asset, NULL::bigint AS amount,
       NULL::text AS state, NULL::text AS tx, NULL::text AS journal_id WHERE 1 = 0

CREATE VIEW audit_voucher AS
SELECT NULL::text AS channel, NULL::bigint AS charged, NULL::bigint AS highest_seen,
       NULL::bigint AS claimed WHERE 1 = 0

CREATE VIEW audit_chain_seen AS
SELECT 'eip155:' || chain_id AS chain, block_number AS block, '0x' || encode(tx_hash, 'hex') AS tx, log_index AS log,
       '0x' || encode(sender, 'hex') AS "from", '0x' || encode(recipient, 'hex') AS "to", '0x' || encode(token, 'hex') AS token, value::numeric AS value
FROM payments_transfer WHERE orphaned_at IS NULL
