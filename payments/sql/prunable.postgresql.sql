-- A claim that reached no transaction of ours and no transfer may be deleted once it has failed for good.
CREATE FUNCTION payments_payment_kept() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF OLD.rail = 'exact' AND OLD.state = 'failed'
       AND NOT EXISTS (SELECT 1 FROM public.payments_authorization WHERE payment_id = OLD.id) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'append-only: DELETE on payments_payment is forbidden' USING ERRCODE = '23001';
END $$

CREATE FUNCTION payments_authorization_kept() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF OLD.submission_id IS NULL AND OLD.wasted_at IS NULL
       AND EXISTS (SELECT 1 FROM public.payments_payment WHERE id = OLD.payment_id AND state = 'failed')
       AND NOT EXISTS (SELECT 1 FROM public.payments_transfer WHERE sender = OLD.payer AND nonce = OLD.nonce) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'append-only: DELETE on payments_authorization is forbidden' USING ERRCODE = '23001';
END $$

DROP TRIGGER kept ON payments_payment

CREATE TRIGGER kept BEFORE DELETE ON payments_payment FOR EACH ROW EXECUTE FUNCTION payments_payment_kept()

DROP TRIGGER kept ON payments_authorization

CREATE TRIGGER kept BEFORE DELETE ON payments_authorization FOR EACH ROW EXECUTE FUNCTION payments_authorization_kept()
