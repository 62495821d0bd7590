-- The books are append-only. Blank lines separate the statements. Functions qualify their tables and fix their search
-- path, so that the inserting role cannot shadow what they read with a temporary table or function of its own.
CREATE FUNCTION payments_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE EXCEPTION 'append-only: % on % is forbidden', TG_OP, TG_TABLE_NAME USING ERRCODE = '23001';
END $$

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON payments_account FOR EACH ROW EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON payments_transaction FOR EACH ROW EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON payments_posting FOR EACH ROW EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER never_emptied BEFORE TRUNCATE ON payments_account FOR EACH STATEMENT EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER never_emptied BEFORE TRUNCATE ON payments_transaction FOR EACH STATEMENT EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER never_emptied BEFORE TRUNCATE ON payments_posting FOR EACH STATEMENT EXECUTE FUNCTION payments_append_only()

-- A transaction is inserted before its closing posting. The deferred foreign key requires that posting at commit.
CREATE FUNCTION payments_opens() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN
  IF EXISTS (SELECT 1 FROM public.payments_posting WHERE id = NEW.last_posting_id) THEN
    RAISE EXCEPTION 'transaction % names a posting that is already there', NEW.id USING ERRCODE = '23514';
  END IF;
  RETURN NEW;
END $$

CREATE TRIGGER opens BEFORE INSERT ON payments_transaction FOR EACH ROW EXECUTE FUNCTION payments_opens()

-- The foreign key alone would accept a closing posting that another session has meanwhile given to another transaction.
CREATE FUNCTION payments_closes() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN
  IF NOT EXISTS (SELECT 1 FROM public.payments_posting WHERE id = NEW.last_posting_id AND transaction_id = NEW.id) THEN
    RAISE EXCEPTION 'transaction % was never closed by a posting of its own', NEW.id
      USING ERRCODE = '23514';
  END IF;
  RETURN NULL;
END $$

CREATE CONSTRAINT TRIGGER closes AFTER INSERT ON payments_transaction DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION payments_closes()

CREATE FUNCTION payments_posts() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN
  IF NOT EXISTS (SELECT 1 FROM public.payments_transaction WHERE id = NEW.transaction_id) THEN
    RAISE EXCEPTION 'posting without its transaction %', NEW.transaction_id USING ERRCODE = '23514';
  END IF;
  IF EXISTS (SELECT 1 FROM public.payments_transaction t JOIN public.payments_posting p ON p.id = t.last_posting_id
             WHERE t.id = NEW.transaction_id) THEN
    RAISE EXCEPTION 'late posting on transaction %', NEW.transaction_id USING ERRCODE = '23514';
  END IF;
  IF EXISTS (SELECT 1 FROM public.payments_transaction WHERE last_posting_id = NEW.id AND id <> NEW.transaction_id) THEN
    RAISE EXCEPTION 'posting % closes another transaction', NEW.id USING ERRCODE = '23514';
  END IF;
  -- Both accounts must already exist: one inserted later in the same commit could have another asset.
  IF NOT EXISTS (SELECT 1 FROM public.payments_account s JOIN public.payments_account t ON s.asset = t.asset
                 WHERE s.id = NEW.source_id AND t.id = NEW.target_id) THEN
    RAISE EXCEPTION 'posting % mixes assets, or one of its accounts is not there', NEW.id USING ERRCODE = '23514';
  END IF;
  RETURN NEW;
END $$

CREATE TRIGGER posts BEFORE INSERT ON payments_posting FOR EACH ROW EXECUTE FUNCTION payments_posts()

-- Payments, authorizations, grants and transfers are never deleted.
CREATE TRIGGER kept BEFORE DELETE ON payments_payment FOR EACH ROW EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER kept BEFORE DELETE ON payments_authorization FOR EACH ROW EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER kept BEFORE DELETE ON payments_grant FOR EACH ROW EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER kept BEFORE DELETE ON payments_transfer FOR EACH ROW EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER never_emptied BEFORE TRUNCATE ON payments_payment FOR EACH STATEMENT EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER never_emptied BEFORE TRUNCATE ON payments_authorization FOR EACH STATEMENT EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER never_emptied BEFORE TRUNCATE ON payments_grant FOR EACH STATEMENT EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER never_emptied BEFORE TRUNCATE ON payments_transfer FOR EACH STATEMENT EXECUTE FUNCTION payments_append_only()
