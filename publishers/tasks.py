"""The Celery tasks of the sellers' side: jobs too (payments.tasks)."""

from celery import shared_task

from payments import jobs

from . import first_sale


@shared_task(name="publishers.mail_first_sales")
@jobs.job(seconds=60)
def mail_first_sales() -> None:
    """Tell the owners of publications about their first sale."""
    first_sale.send_due()
