-- A claim that reached no transaction of ours and no transfer may be deleted once it has failed for good.
DROP TRIGGER payment_kept

CREATE TRIGGER payment_kept BEFORE DELETE ON payments_payment
WHEN NOT (OLD.rail = 'exact' AND OLD.state = 'failed'
          AND NOT EXISTS (SELECT 1 FROM payments_authorization WHERE payment_id = OLD.id))
BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on payments_payment is forbidden'); END

DROP TRIGGER authorization_kept

CREATE TRIGGER authorization_kept BEFORE DELETE ON payments_authorization
WHEN NOT (OLD.submission_id IS NULL AND OLD.wasted_at IS NULL
          AND EXISTS (SELECT 1 FROM payments_payment WHERE id = OLD.payment_id AND state = 'failed')
          AND NOT EXISTS (SELECT 1 FROM payments_transfer WHERE sender = OLD.payer AND nonce = OLD.nonce))
BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on payments_authorization is forbidden'); END
