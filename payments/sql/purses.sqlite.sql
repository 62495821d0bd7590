-- The records of purses, API keys and cards are never deleted. Blank lines separate the statements.
CREATE TRIGGER purse_kept BEFORE DELETE ON payments_purse BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on payments_purse is forbidden'); END

CREATE TRIGGER charge_kept BEFORE DELETE ON payments_charge BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on payments_charge is forbidden'); END

CREATE TRIGGER cardrefund_kept BEFORE DELETE ON payments_cardrefund BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on payments_cardrefund is forbidden'); END

CREATE TRIGGER dispute_kept BEFORE DELETE ON payments_dispute BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on payments_dispute is forbidden'); END

CREATE TRIGGER apikey_kept BEFORE DELETE ON payments_apikey BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on payments_apikey is forbidden'); END

CREATE TRIGGER approval_kept BEFORE DELETE ON payments_approval BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on payments_approval is forbidden'); END

CREATE TRIGGER debit_kept BEFORE DELETE ON payments_debit BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on payments_debit is forbidden'); END

CREATE TRIGGER processorevent_kept BEFORE DELETE ON payments_processorevent BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on payments_processorevent is forbidden'); END

-- INSERT OR REPLACE deletes without firing the triggers above, so inserting an existing key is refused.
CREATE TRIGGER purse_no_replace BEFORE INSERT ON payments_purse
WHEN EXISTS (SELECT 1 FROM payments_purse WHERE id = NEW.id OR owner = NEW.owner)
BEGIN SELECT RAISE(ABORT, 'append-only: payments_purse already has this row'); END

CREATE TRIGGER charge_no_replace BEFORE INSERT ON payments_charge
WHEN EXISTS (SELECT 1 FROM payments_charge
             WHERE id = NEW.id OR (session <> '' AND session = NEW.session) OR (intent <> '' AND intent = NEW.intent)
                OR (stripe_charge_id <> '' AND stripe_charge_id = NEW.stripe_charge_id)
                OR (purpose = 'tab' AND NEW.purpose = 'tab' AND purse_id = NEW.purse_id
                    AND state NOT IN ('succeeded', 'failed', 'canceled')
                    AND NEW.state NOT IN ('succeeded', 'failed', 'canceled')))
BEGIN SELECT RAISE(ABORT, 'append-only: payments_charge already has this row'); END

CREATE TRIGGER cardrefund_no_replace BEFORE INSERT ON payments_cardrefund
WHEN EXISTS (SELECT 1 FROM payments_cardrefund WHERE id = NEW.id OR (stripe_refund_id <> '' AND stripe_refund_id = NEW.stripe_refund_id))
BEGIN SELECT RAISE(ABORT, 'append-only: payments_cardrefund already has this row'); END

CREATE TRIGGER dispute_no_replace BEFORE INSERT ON payments_dispute
WHEN EXISTS (SELECT 1 FROM payments_dispute WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'append-only: payments_dispute already has this row'); END

CREATE TRIGGER apikey_no_replace BEFORE INSERT ON payments_apikey
WHEN EXISTS (SELECT 1 FROM payments_apikey WHERE id = NEW.id OR public = NEW.public)
BEGIN SELECT RAISE(ABORT, 'append-only: payments_apikey already has this row'); END

CREATE TRIGGER approval_no_replace BEFORE INSERT ON payments_approval
WHEN EXISTS (SELECT 1 FROM payments_approval WHERE id = NEW.id
             OR (key_id = NEW.key_id AND resource = NEW.resource AND state IN ('asked', 'approved')
                 AND NEW.state IN ('asked', 'approved')))
BEGIN SELECT RAISE(ABORT, 'append-only: payments_approval already has this row'); END

CREATE TRIGGER debit_no_replace BEFORE INSERT ON payments_debit
WHEN EXISTS (SELECT 1 FROM payments_debit WHERE payment_id = NEW.payment_id)
BEGIN SELECT RAISE(ABORT, 'append-only: payments_debit already has this row'); END

-- Stripe may deliver a webhook more than once: the second insert is ignored, not an error.
CREATE TRIGGER processorevent_no_replace BEFORE INSERT ON payments_processorevent
WHEN EXISTS (SELECT 1 FROM payments_processorevent WHERE id = NEW.id)
BEGIN SELECT RAISE(IGNORE); END
