-- The records of purses, API keys and cards are never deleted. Blank lines separate the statements (see
-- books.postgresql.sql).
CREATE TRIGGER kept BEFORE DELETE ON payments_purse FOR EACH ROW EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER never_emptied BEFORE TRUNCATE ON payments_purse FOR EACH STATEMENT EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER kept BEFORE DELETE ON payments_charge FOR EACH ROW EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER never_emptied BEFORE TRUNCATE ON payments_charge FOR EACH STATEMENT EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER kept BEFORE DELETE ON payments_cardrefund FOR EACH ROW EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER never_emptied BEFORE TRUNCATE ON payments_cardrefund FOR EACH STATEMENT EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER kept BEFORE DELETE ON payments_dispute FOR EACH ROW EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER never_emptied BEFORE TRUNCATE ON payments_dispute FOR EACH STATEMENT EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER kept BEFORE DELETE ON payments_apikey FOR EACH ROW EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER never_emptied BEFORE TRUNCATE ON payments_apikey FOR EACH STATEMENT EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER kept BEFORE DELETE ON payments_approval FOR EACH ROW EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER never_emptied BEFORE TRUNCATE ON payments_approval FOR EACH STATEMENT EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER kept BEFORE DELETE ON payments_debit FOR EACH ROW EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER never_emptied BEFORE TRUNCATE ON payments_debit FOR EACH STATEMENT EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER kept BEFORE DELETE ON payments_processorevent FOR EACH ROW EXECUTE FUNCTION payments_append_only()

CREATE TRIGGER never_emptied BEFORE TRUNCATE ON payments_processorevent FOR EACH STATEMENT EXECUTE FUNCTION payments_append_only()
