-- The books are append-only; statements are separated by blank lines.
CREATE FUNCTION payments_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE EXCEPTION 'append-only: % on % is forbidden', TG_OP, TG_TABLE_NAME USING ERRCODE = '23001';
END $$

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON payments_account FOR EACH ROW EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON payments_transaction FOR EACH ROW EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON payments_posting FOR EACH ROW EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER never_emptied BEFORE TRUNCATE ON payments_account FOR EACH STATEMENT EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER never_emptied BEFORE TRUNCATE ON payments_transaction FOR EACH STATEMENT EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER never_emptied BEFORE TRUNCATE ON payments_posting FOR EACH STATEMENT EXECUTE FUNCTION payments_append_only()

-- A transaction is opened before its closing posting exists; the deferred foreign key demands the latter at commit.
CREATE FUNCTION payments_opens() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF EXISTS (SELECT 1 FROM payments_posting WHERE id = NEW.last_posting_id) THEN
    RAISE EXCEPTION 'transaction % names a posting that is already there', NEW.id USING ERRCODE = '23514';
  END IF;
  RETURN NEW;
END $$

CREATE TRIGGER opens BEFORE INSERT ON payments_transaction FOR EACH ROW EXECUTE FUNCTION payments_opens()

CREATE FUNCTION payments_posts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NOT EXISTS (SELECT 1 FROM payments_transaction WHERE id = NEW.transaction_id) THEN
    RAISE EXCEPTION 'posting without its transaction %', NEW.transaction_id USING ERRCODE = '23514';
  END IF;
  IF EXISTS (SELECT 1 FROM payments_transaction t JOIN payments_posting p ON p.id = t.last_posting_id
             WHERE t.id = NEW.transaction_id) THEN
    RAISE EXCEPTION 'late posting on transaction %', NEW.transaction_id USING ERRCODE = '23514';
  END IF;
  IF EXISTS (SELECT 1 FROM payments_transaction WHERE last_posting_id = NEW.id AND id <> NEW.transaction_id) THEN
    RAISE EXCEPTION 'posting % closes another transaction', NEW.id USING ERRCODE = '23514';
  END IF;
  IF (SELECT count(DISTINCT asset) FROM payments_account WHERE id IN (NEW.source_id, NEW.target_id)) > 1 THEN
    RAISE EXCEPTION 'posting % mixes assets', NEW.id USING ERRCODE = '23514';
  END IF;
  RETURN NEW;
END $$

CREATE TRIGGER posts BEFORE INSERT ON payments_posting FOR EACH ROW EXECUTE FUNCTION payments_posts()

-- What was paid, granted or seen is kept for ever.
CREATE TRIGGER kept BEFORE DELETE ON payments_payment FOR EACH ROW EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER kept BEFORE DELETE ON payments_authorization FOR EACH ROW EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER kept BEFORE DELETE ON payments_grant FOR EACH ROW EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER kept BEFORE DELETE ON payments_transfer FOR EACH ROW EXECUTE FUNCTION payments_append_only()
