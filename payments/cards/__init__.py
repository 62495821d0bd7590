"""Card money: charges, hosted pages, tabs, refunds, disputes, and reconciliation with the processor's books."""
