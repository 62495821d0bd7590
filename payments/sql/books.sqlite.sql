-- The books are append-only. Blank lines separate the statements. SQLite has no roles and no TRUNCATE.
CREATE TRIGGER account_no_update BEFORE UPDATE ON payments_account BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on payments_account is forbidden'); END

CREATE TRIGGER account_no_delete BEFORE DELETE ON payments_account BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on payments_account is forbidden'); END

CREATE TRIGGER transaction_no_update BEFORE UPDATE ON payments_transaction BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on payments_transaction is forbidden'); END

CREATE TRIGGER transaction_no_delete BEFORE DELETE ON payments_transaction BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on payments_transaction is forbidden'); END

CREATE TRIGGER posting_no_update BEFORE UPDATE ON payments_posting BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on payments_posting is forbidden'); END

CREATE TRIGGER posting_no_delete BEFORE DELETE ON payments_posting BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on payments_posting is forbidden'); END

-- INSERT OR REPLACE deletes without firing the triggers above, so inserting an existing key is refused.
CREATE TRIGGER account_no_replace BEFORE INSERT ON payments_account
WHEN EXISTS (SELECT 1 FROM payments_account WHERE id = NEW.id OR (code = NEW.code AND asset = NEW.asset))
BEGIN SELECT RAISE(ABORT, 'append-only: payments_account already has this row'); END

CREATE TRIGGER posting_no_replace BEFORE INSERT ON payments_posting
WHEN EXISTS (SELECT 1 FROM payments_posting WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'append-only: payments_posting already has this row'); END

CREATE TRIGGER transaction_no_replace BEFORE INSERT ON payments_transaction
WHEN EXISTS (SELECT 1 FROM payments_transaction
             WHERE id = NEW.id OR "key" = NEW."key" OR last_posting_id = NEW.last_posting_id OR reverses_id = NEW.reverses_id)
BEGIN SELECT RAISE(ABORT, 'append-only: payments_transaction already has this row'); END

-- A transaction is inserted before its closing posting. The deferred foreign key requires that posting at commit.
CREATE TRIGGER transaction_opens BEFORE INSERT ON payments_transaction
WHEN EXISTS (SELECT 1 FROM payments_posting WHERE id = NEW.last_posting_id)
BEGIN SELECT RAISE(ABORT, 'transaction names a posting that is already there'); END

CREATE TRIGGER posting_has_transaction BEFORE INSERT ON payments_posting
WHEN NOT EXISTS (SELECT 1 FROM payments_transaction WHERE id = NEW.transaction_id)
BEGIN SELECT RAISE(ABORT, 'posting without its transaction'); END

CREATE TRIGGER posting_not_late BEFORE INSERT ON payments_posting
WHEN EXISTS (SELECT 1 FROM payments_transaction t JOIN payments_posting p ON p.id = t.last_posting_id
             WHERE t.id = NEW.transaction_id)
BEGIN SELECT RAISE(ABORT, 'late posting on a transaction'); END

CREATE TRIGGER posting_closes_its_own BEFORE INSERT ON payments_posting
WHEN EXISTS (SELECT 1 FROM payments_transaction WHERE last_posting_id = NEW.id AND id <> NEW.transaction_id)
BEGIN SELECT RAISE(ABORT, 'posting closes another transaction'); END

-- Both accounts must already exist: one inserted later in the same commit could have another asset.
CREATE TRIGGER posting_one_asset BEFORE INSERT ON payments_posting
WHEN NOT EXISTS (SELECT 1 FROM payments_account s JOIN payments_account t ON s.asset = t.asset
                 WHERE s.id = NEW.source_id AND t.id = NEW.target_id)
BEGIN SELECT RAISE(ABORT, 'posting mixes assets, or one of its accounts is not there'); END

-- SQLite would store a fraction of a micro, or text, in an integer column.
CREATE TRIGGER posting_whole_number BEFORE INSERT ON payments_posting
WHEN typeof(NEW.amount_micros) <> 'integer'
BEGIN SELECT RAISE(ABORT, 'an amount is a whole number of micros'); END

-- Payments, authorizations, grants and transfers are never deleted.
CREATE TRIGGER payment_kept BEFORE DELETE ON payments_payment BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on payments_payment is forbidden'); END

CREATE TRIGGER authorization_kept BEFORE DELETE ON payments_authorization BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on payments_authorization is forbidden'); END

CREATE TRIGGER grant_kept BEFORE DELETE ON payments_grant BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on payments_grant is forbidden'); END

CREATE TRIGGER transfer_kept BEFORE DELETE ON payments_transfer BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on payments_transfer is forbidden'); END

CREATE TRIGGER payment_no_replace BEFORE INSERT ON payments_payment
WHEN EXISTS (SELECT 1 FROM payments_payment WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'append-only: payments_payment already has this row'); END

CREATE TRIGGER authorization_no_replace BEFORE INSERT ON payments_authorization
WHEN EXISTS (SELECT 1 FROM payments_authorization WHERE payment_id = NEW.payment_id
             OR (chain_id = NEW.chain_id AND token = NEW.token AND payer = NEW.payer AND nonce = NEW.nonce))
BEGIN SELECT RAISE(ABORT, 'append-only: payments_authorization already has this row'); END

CREATE TRIGGER grant_no_replace BEFORE INSERT ON payments_grant
WHEN EXISTS (SELECT 1 FROM payments_grant WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'append-only: payments_grant already has this row'); END

CREATE TRIGGER transfer_no_replace BEFORE INSERT ON payments_transfer
WHEN EXISTS (SELECT 1 FROM payments_transfer WHERE id = NEW.id
             OR (chain_id = NEW.chain_id AND block_hash = NEW.block_hash AND tx_hash = NEW.tx_hash AND log_index = NEW.log_index))
BEGIN SELECT RAISE(ABORT, 'append-only: payments_transfer already has this row'); END
