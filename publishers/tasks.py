"""The Celery tasks of the sellers' side. Idempotent, without arguments."""

from celery import shared_task

from . import first_sale


@shared_task(name="publishers.mail_first_sales")
def mail_first_sales() -> None:
    """Tell the owners of publications about their first sale."""
    first_sale.send_due()
